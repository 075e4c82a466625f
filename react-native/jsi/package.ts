/** The package as on a phone: the functions come from the native module. */
import { load } from '../src/jsi';
import { provide } from '../src/native-module';

provide(load, 'build both from the same commit');

export * from '../src/index';
