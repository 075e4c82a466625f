/**
 * What the app uses of the device: a folder, the user's token, the address of the server, the state of app and network.
 *
 * Tests replace this file; all other files import only react-native and Rejoin.
 */
import NetInfo from '@react-native-community/netinfo';
import type { AppModules } from '@rejoin/react-native';
import { Paths } from 'expo-file-system';
import * as SecureStore from 'expo-secure-store';
import { Platform } from 'react-native';

/** The path of the app's folder for documents. */
export function folder(): string {
  return decodeURIComponent(Paths.document.uri).replace(/^file:\/\//, '').replace(/\/$/, '');
}

/** The emulator of Android has the computer that it runs on at 10.0.2.2; the simulator of iOS has the network of the Mac. */
export const serverUrl = (): string => `http://${Platform.OS === 'android' ? '10.0.2.2' : '127.0.0.1'}:7878`;

/** What `followApp` observes. */
export const modules = (): AppModules => ({ NetInfo });

const NAME = 'token';
// As the database file, so that a sync in the background can read it after the first unlock; never in a backup.
const OPTIONS = { keychainService: 'dev.rejoin.todo', keychainAccessible: SecureStore.AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY };

/** The token of the signed-in user, in the keychain or encrypted by the Android Keystore. Reads null if no user is signed in. */
export const tokens = {
  read: (): Promise<string | null> => SecureStore.getItemAsync(NAME, OPTIONS),
  save: (token: string): Promise<void> => SecureStore.setItemAsync(NAME, token, OPTIONS),
  clear: (): Promise<void> => SecureStore.deleteItemAsync(NAME, OPTIONS),
};
