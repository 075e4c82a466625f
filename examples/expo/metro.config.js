/** Metro reads files of this folder only; schema.json is a link to the file of the Android example. */
const { getDefaultConfig } = require('expo/metro-config');
const { resolve } = require('node:path');

const config = getDefaultConfig(__dirname);
config.watchFolders = [...(config.watchFolders ?? []), resolve(__dirname, '../android/app/src/main/assets')];
module.exports = config;
