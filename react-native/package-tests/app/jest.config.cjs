/** What an app adds to its configuration is `setupFiles`, and `@rejoin` in the pattern, which lets babel compile the packages. */
const { dirname, join } = require('node:path');

module.exports = {
  preset: '@react-native/jest-preset',
  setupFiles: ['@rejoin/react-native/jest'],
  transformIgnorePatterns: ['node_modules/(?!((jest-)?react-native|@react-native(-community)?|@rejoin)/)'],
  // The preset 0.87 does not have this path of React Native 0.88.
  moduleNameMapper: {
    '^react-native/react-private-interface$': join(dirname(require.resolve('react-native/package.json')), 'src/react-private-interface.js'),
  },
};
