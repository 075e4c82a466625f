/** What the app takes from Expo's packages, which are replaced. */
import { expect, test, vi } from 'vitest';
import { folder, modules, serverUrl, tokens } from '../../../examples/expo/src/platform';

const device = vi.hoisted(() => ({ uri: '', OS: '', stored: new Map<string, unknown[]>() }));

vi.mock('react-native', () => ({ Platform: { get OS() { return device.OS; } } }));
vi.mock('@react-native-community/netinfo', () => ({ default: 'NetInfo' }));
vi.mock('expo-file-system', () => ({ Paths: { document: { get uri() { return device.uri; } } } }));
vi.mock('expo-secure-store', () => ({
  AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY: 1,
  getItemAsync: async (key: string) => device.stored.get(key)?.[0] ?? null,
  setItemAsync: async (key: string, ...rest: unknown[]) => void device.stored.set(key, rest),
  deleteItemAsync: async (key: string) => void device.stored.delete(key),
}));

test('folder is a path', () => {
  device.uri = 'file:///var/mobile/My%20App/Documents/';
  expect(folder()).toBe('/var/mobile/My App/Documents');
});

test('server is the computer of the emulator or simulator', () => {
  device.OS = 'android';
  expect(serverUrl()).toBe('http://10.0.2.2:7878');
  device.OS = 'ios';
  expect(serverUrl()).toBe('http://127.0.0.1:7878');
  expect(modules()).toEqual({ NetInfo: 'NetInfo' });
});

test('token is stored for this device only until it is cleared', async () => {
  expect(await tokens.read()).toBeNull();
  await tokens.save('secret');
  expect(await tokens.read()).toBe('secret');
  expect([...device.stored.values()]).toEqual([['secret', expect.objectContaining({ keychainAccessible: 1 })]]);
  await tokens.clear();
  expect(await tokens.read()).toBeNull();
});
