// Expo loads the config plugin of a package from this file. The package consists of ES modules, and Expo's plugins do not.
export { default } from './plugin/index.cjs';
