/** The package in React Native. */
import { load, REBUILD } from './jsi';
import { provide } from './native-module';

provide(load, REBUILD);

export * from './index';
