import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeFrame, FrameReader, FrameType } from './frames.ts';

test('frames come out as they went in, however the bytes are cut', () => {
  const frame = fc.record({ type: fc.constantFrom(...Object.values(FrameType)), payload: fc.uint8Array({ maxLength: 40 }) });
  fc.assert(
    fc.property(fc.array(frame), fc.array(fc.nat(20)), (frames, cuts) => {
      const bytes = Buffer.concat(frames.map(({ type, payload }) => encodeFrame(type, payload)));
      const reader = new FrameReader();
      const seen = [];
      let at = 0;
      for (const cut of [...cuts, bytes.length]) {
        seen.push(...reader.push(bytes.subarray(at, at + cut)));
        at = Math.min(bytes.length, at + cut);
      }
      seen.push(...reader.push(bytes.subarray(at)));
      expect(seen.map(({ type, payload }) => [type, [...payload]])).toEqual(frames.map(({ type, payload }) => [type, [...payload]]));
    }),
  );
});

test('a length over 1 MiB is refused before anything is kept', () => {
  const header = Buffer.from([0, 0, 0x10, 0x01, 0]);
  expect(() => new FrameReader().push(header)).toThrow('must be at most 1048576 bytes, found 17825792');
});
