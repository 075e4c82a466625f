/**
 * For `setupFiles` of an app's jest configuration: `@rejoin/react-native` is the package for Node, with the real engine.
 *
 * One build of it serves the test and all packages on top, so `instanceof` holds for its errors. The native part of React Native is not
 * needed. A missing engine is the ConfigurationError of the first call (see `node/runtime.ts`).
 */
'use strict';

jest.mock('@rejoin/react-native', () => jest.requireActual('../lib/jest.cjs'));
