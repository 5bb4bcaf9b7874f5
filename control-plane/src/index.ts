export { type Config, optionTable, variablePrefix } from './config.ts';
export { type ControlPlane, type Surroundings, startControlPlane, version } from './control-plane.ts';
