export { examineCompose, mostManifestBytes, type ReadComposeOptions, type ReadComposeResult, readCompose } from './compose.ts';
export { parseEnvFile } from './environment.ts';
export type { Variables } from './interpolate.ts';
