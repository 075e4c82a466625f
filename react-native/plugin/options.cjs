/** The options of the Expo config plugin, and its error. */
'use strict';

/** The app config, or a file that `prebuild` generates, does not fit @rejoin/react-native. The message has the remedy. */
class RejoinPluginError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = 'RejoinPluginError';
  }
}

const EXAMPLE = '["@rejoin/react-native", { "backgroundSync": true }]';

/**
 * The options with their defaults.
 *
 * @param {unknown} options
 * @returns {{ backgroundSync: boolean }}
 * @throws {RejoinPluginError} An option is unknown, or has another type.
 */
function checkOptions(options) {
  const given = options ?? {};
  if (typeof given !== 'object' || Array.isArray(given)) {
    throw new RejoinPluginError(`The options of the plugin @rejoin/react-native must be an object, as in ${EXAMPLE}; got ${JSON.stringify(given)}.`);
  }
  const unknown = Object.keys(given).filter((name) => name !== 'backgroundSync');
  if (unknown.length > 0) {
    throw new RejoinPluginError(`The plugin @rejoin/react-native has no option ${unknown.join(', ')}; its only option is \`backgroundSync\`.`);
  }
  const { backgroundSync = false } = /** @type {{ backgroundSync?: unknown }} */ (given);
  if (typeof backgroundSync !== 'boolean') {
    throw new RejoinPluginError(
      `\`backgroundSync\` of the plugin @rejoin/react-native must be true or false, as in ${EXAMPLE}; got ${JSON.stringify(backgroundSync)}.`,
    );
  }
  return { backgroundSync };
}

module.exports = { checkOptions, RejoinPluginError };
