/** The package in React Native. */
import { AppState, Platform } from 'react-native';
import { provideApp } from './app-state';
import { load, REBUILD } from './jsi';
import { provide } from './native-module';

provide(load, REBUILD);
provideApp({ AppState, Platform });

export * from './index';
