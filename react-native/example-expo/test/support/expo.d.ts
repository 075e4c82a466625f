/** What the app uses of Expo's packages, which are not installed here, with the signatures of SDK 58. */
declare module 'expo-file-system' {
  export const Paths: { readonly document: { readonly uri: string } };
}

declare module 'expo-secure-store' {
  interface SecureStoreOptions {
    keychainService?: string;
    keychainAccessible?: number;
  }
  export const AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY: number;
  export function getItemAsync(key: string, options?: SecureStoreOptions): Promise<string | null>;
  export function setItemAsync(key: string, value: string, options?: SecureStoreOptions): Promise<void>;
  export function deleteItemAsync(key: string, options?: SecureStoreOptions): Promise<void>;
}
