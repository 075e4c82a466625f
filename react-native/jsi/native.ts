/** In place of the native module of the app. */
export default {
  install(): boolean {
    host.install();
    return true;
  },
};
