export { type ClusterRecord, type CreateOptions, installation, LocalCluster } from './cluster.ts';
export { demoEnvironment, demoFile, demoPort, publishDemo, visitDemo } from './demo.ts';
export { demoImages, type ImageSpec, publishImages } from './images.ts';
export { isAlive, type OwnProcess, run, signalProcess, startTimeOf, waitUntil } from './process.ts';
export { freePort } from './servers.ts';
