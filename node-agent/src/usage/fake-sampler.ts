import { Report, Usage } from '@gantry/proto';
import type { Sampler, SampleSource } from './sampler.ts';

/** A sampler for tests: usage is what the test sets. */
export class FakeSampler implements Sampler {
  /** What is tracked now. */
  readonly sources = new Map<string, SampleSource>();
  readonly usages = new Map<string, Usage>();
  node: Usage = Usage.create();
  samples = 0;

  track(id: string, source: SampleSource): void {
    this.sources.set(id, source);
  }

  untrack(id: string): void {
    this.sources.delete(id);
    this.usages.delete(id);
  }

  sampleAll(): void {
    this.samples++;
  }

  latest(id: string): Usage | undefined {
    return this.usages.get(id);
  }

  report(nowUs: number): Report {
    return Report.create({ at: nowUs, node: this.node, ids: [...this.usages.keys()], usages: [...this.usages.values()] });
  }

  close(): void {
    this.sources.clear();
  }
}
