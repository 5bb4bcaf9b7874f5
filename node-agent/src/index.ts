export { createConnector } from './health/connector.ts';
export { createProber } from './health/node-prober.ts';
export { createSampler } from './usage/cgroup-sampler.ts';
export { findCgroupMounts } from './usage/mounts.ts';
