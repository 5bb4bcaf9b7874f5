import { expect, test } from 'vitest';
import { examine } from './doctor.ts';

test('every finding has a state and says what follows', async () => {
  const findings = await examine();
  expect(findings.map((finding) => finding.name)).toContain('cgroups');
  for (const finding of findings) expect(finding.detail, finding.name).not.toBe('');
});
