/**
 * `@rejoin/react/inspector`: a screen that shows the state of a client, for developers and support.
 *
 * A separate entry point: it imports React Native, which the hooks do not, and apps without it do not bundle it.
 */
export { RejoinInspector } from './inspector';
