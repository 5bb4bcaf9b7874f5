// A module of its own, so that only those who print YAML load the library.
export { stringify } from 'yaml';
