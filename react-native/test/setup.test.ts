/** Each way in which an app can lack the native part is an error that names what to run, and the next call tries again. */
import { afterEach, expect, test } from 'vitest';
import { ConfigurationError, RejoinClient, RejoinConfig } from '../src/index';
import ffi from '../src/generated/rejoin_ffi';
import { type AppGlobals, loadFrom, missing, REBUILD } from '../src/jsi';
import { provide } from '../src/native-module';
import { load as loadOnNode } from '../node/module';

type Global = AppGlobals & { NativeRejoinFfi: Record<string, unknown> };
const app = globalThis as unknown as Global;

afterEach(() => provide(loadOnNode, 'build both'));

test.each<[string, AppGlobals, RegExp]>([
  ['Expo Go', { expo: { modules: { ExpoGo: {} } }, RN$Bridgeless: true }, /^Expo Go has no native part .*`npx expo run:ios`/],
  ['the old architecture', {}, /new architecture.*remove `newArchEnabled=false`/],
  ['an older build with Expo', { expo: {}, RN$Bridgeless: true }, /made before .* was installed: run `npx expo prebuild`/],
  ['an older build without Expo', { RN$Bridgeless: true }, /made before .* was installed: run `cd ios && pod install`/],
  ['an older build with the interoperability layer', { __turboModuleProxy: () => null }, /`cd ios && pod install`/],
])('the error for %s names the remedy', (_, globals, text) => {
  expect(missing(globals)).toBeInstanceOf(ConfigurationError);
  expect(missing(globals).message).toMatch(text);
});

test('errors of the native part are passed on, and a runtime that is gone is named', () => {
  const throwing = (): never => {
    throw new Error('Rejoin: the app has no library for x86');
  };
  expect(() => loadFrom({}, throwing)).toThrow(new ConfigurationError('Rejoin: the app has no library for x86'));
  expect(() => loadFrom({}, () => ({ install: throwing }))).toThrow(new ConfigurationError('Rejoin: the app has no library for x86'));
  const gone = /runtime of the app cannot be reached.*reload the app/;
  expect(() => loadFrom({ NativeRejoinFfi: {} }, () => ({ install: () => false }))).toThrow(gone);
  expect(() => loadFrom({}, () => ({ install: () => true }))).toThrow(gone);
});

test('functions are loaded by the first use, and again after an error', () => {
  const loads: string[] = [];
  const native = (install: () => void) => () => (loads.push('load'), loadFrom(app, () => ({ install: () => (install(), true) })));
  const working = loadOnNode();
  let isBroken = true;
  provide(native(() => {
    if (isBroken) throw new Error('Rejoin: not yet');
    app.NativeRejoinFfi = working;
  }), REBUILD);
  expect(loads).toEqual([]);
  expect(() => app.NativeRejoinFfi).toThrow('Rejoin: not yet');
  isBroken = false;
  expect(app.NativeRejoinFfi).toEqual(working);
  expect(app.NativeRejoinFfi).toBe(app.NativeRejoinFfi);
  expect(loads).toEqual(['load', 'load']);
});

test('stack of an error of the native part begins with its message', async () => {
  provide(() => {
    throw new ConfigurationError('Expo Go has no native part');
  }, REBUILD);
  const error = await RejoinClient.open(RejoinConfig.temporary()).catch((error: unknown) => error);
  expect((error as Error).stack).toMatch(/^ConfigurationError: Expo Go has no native part\n +at /);
});

test('a library of another version is an error with the remedy, also if the functions are installed once only', () => {
  const checksum = 'ubrn_uniffi_rejoin_ffi_checksum_func_set_log_sink';
  const older = { ...loadOnNode(), [checksum]: () => 1 };
  app.NativeRejoinFfi; // As `provide` of the entry, before the native part writes.
  Object.defineProperty(globalThis, 'NativeRejoinFfi', { configurable: true, writable: true, value: older });
  provide(() => loadFrom(app, () => ({ install: () => true })), REBUILD);
  for (const attempt of [1, 2]) {
    expect(() => app.NativeRejoinFfi, `attempt ${attempt}`).toThrow(ConfigurationError);
    expect(() => app.NativeRejoinFfi).toThrow(/another version than the package: build the app again/);
  }
  expect(ffi.initialize).toBeTypeOf('function');
});
