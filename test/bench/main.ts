// npm run bench -- NAME [--json]: runs one benchmark; without a name lists them.
import { errorText, GantryError } from '@gantry/common';
import { type Bench, toJson } from './bench.ts';
import { idleCost } from './idle-cost.ts';
import { packing } from './packing.ts';
import { probeCost } from './probe-cost.ts';
import { reclaim } from './reclaim.ts';
import { replicas100 } from './replicas-100.ts';
import { sampleCost } from './sample-cost.ts';
import { schedulerEngine } from './scheduler-engine.ts';
import { startLatency } from './start-latency.ts';

const benches: readonly Bench[] = [startLatency, replicas100, idleCost, sampleCost, probeCost, schedulerEngine, packing, reclaim];

async function main(args: readonly string[]): Promise<number> {
  const name = args.find((argument) => !argument.startsWith('-'));
  if (name === undefined) {
    for (const bench of benches) console.log(`${bench.name.padEnd(18)} ${bench.about}`);
    return 0;
  }
  const bench = benches.find((one) => one.name === name);
  if (!bench) {
    console.error(`bench: cannot run "${name}": no such benchmark (npm run bench lists them)`);
    return 1;
  }
  const json = args.includes('--json');
  const result = await bench.run((line) => console.error(`${name}: ${line}`));
  if (json) console.log(toJson(name, result));
  else console.table(result.figures);
  return result.oracle.violations > 0 ? 2 : 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(`bench: ${errorText(GantryError.from(error))}`);
  process.exitCode = 1;
}
