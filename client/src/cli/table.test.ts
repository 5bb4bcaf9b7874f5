import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Column, cutText, tableLines, textWidth } from './table.ts';

interface Row {
  name: string;
  count: string;
  note: string;
}
const columns: readonly Column<Row>[] = [
  { header: 'NAME', value: (row) => row.name },
  { header: 'COUNT', value: (row) => row.count, right: true },
  { header: 'NOTE', value: (row) => row.note },
];
const bare = (lines: string[]) => lines.map(stripVTControlCharacters);

test('columns are as wide as their widest cell; figures stand at the right', () => {
  const rows = [
    { name: 'a', count: '7', note: 'x' },
    { name: 'longer', count: '1234567', note: 'two\nlines' },
  ];
  expect(bare(tableLines(rows, columns))).toEqual(['NAME      COUNT  NOTE', 'a             7  x', 'longer  1234567  two lines']);
});

test('the width of text counts wide characters twice, marks and colours not at all', () => {
  expect(textWidth('日本')).toBe(4);
  expect(textWidth('e\u0301')).toBe(1);
  expect(textWidth('\u001b[31mred\u001b[39m')).toBe(3);
});

test('the last column is cut to fit the terminal, the others are kept', () => {
  const [, line] = bare(tableLines([{ name: 'name', count: '1', note: 'a very long note that does not fit' }], columns, 30));
  expect(line).toBe('name      1  a very long note…');
});

test('no line is wider than the terminal when the last column can give way', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ name: fc.string({ maxLength: 8 }), count: fc.nat(999).map(String), note: fc.string() })), (rows) => {
      for (const line of tableLines(rows, columns, 40)) expect(textWidth(line)).toBeLessThanOrEqual(40);
    }),
  );
  fc.assert(
    fc.property(fc.string(), fc.integer({ min: 1, max: 80 }), (text, width) => {
      expect(textWidth(cutText(text, width))).toBeLessThanOrEqual(width);
    }),
  );
});
