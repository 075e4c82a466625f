/** Uses the library for Node; nothing is opened before the first call into it. */
import { provide } from '../src/native-module';
import { load } from './module';

provide(load, 'build both from the same commit');
