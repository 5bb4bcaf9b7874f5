import { version } from '../version.ts';

console.log(`gantry ${version}`);
