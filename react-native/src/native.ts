/** The package in React Native. */
import { load } from './jsi';
import { provide } from './native-module';

provide(load, 'build the app again, after `pod install` on iOS');

export * from './index';
