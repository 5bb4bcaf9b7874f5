// protobufjs with 64-bit integers as plain numbers: exact to 2^53, which every field of Gantry keeps.
import protobuf from 'protobufjs/minimal.js';

protobuf.util.Long = undefined as never;
protobuf.configure();

// oxlint-disable-next-line import/no-default-export -- the generated code imports it as it would protobufjs
export default protobuf;
