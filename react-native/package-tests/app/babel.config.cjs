/** Compiles TypeScript, JSX and Flow; React Native's own preset is not among the packages of this repository. */
module.exports = {
  presets: [
    ['@babel/preset-env', { targets: { node: '20' } }],
    ['@babel/preset-react', { runtime: 'automatic' }],
    '@babel/preset-typescript',
  ],
  plugins: [['flow-parser/babel-plugin', { parseLangTypes: 'flow' }], '@babel/plugin-transform-flow-strip-types'],
};
