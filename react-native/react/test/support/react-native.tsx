/**
 * The components of React Native that the inspector and the app of `examples/expo` use, as HTML: the alias of `react-native` in tests.
 *
 * Styles are ignored. The type checks use the real React Native.
 */
import type { ReactElement, ReactNode } from 'react';

interface Props {
  readonly children?: ReactNode;
  readonly accessibilityRole?: string;
  readonly accessibilityLabel?: string;
  readonly accessibilityState?: { readonly busy?: boolean; readonly checked?: boolean };
  readonly disabled?: boolean;
  readonly onPress?: () => void;
}

const ROLES: Readonly<Record<string, string>> = { header: 'heading' };

export const View = ({ children }: Props): ReactElement => <div>{children}</div>;
export const ScrollView = View;
export const Text = ({ children, accessibilityRole: role }: Props): ReactElement => (
  <p role={role === undefined ? undefined : (ROLES[role] ?? role)}>{children}</p>
);
export const Pressable = ({ children, accessibilityLabel, accessibilityRole, accessibilityState, disabled, onPress }: Props): ReactElement => (
  <div
    role={accessibilityRole}
    aria-label={accessibilityLabel}
    aria-busy={accessibilityState?.busy}
    aria-checked={accessibilityState?.checked}
    aria-disabled={disabled}
    onClick={disabled === true ? undefined : onPress}
  >
    {children}
  </div>
);
export const StyleSheet = { create: <T,>(styles: T): T => styles };

interface InputProps {
  readonly accessibilityLabel?: string;
  readonly value: string;
  readonly onChangeText: (text: string) => void;
}

export const TextInput = ({ accessibilityLabel, value, onChangeText }: InputProps): ReactElement => (
  <input aria-label={accessibilityLabel} value={value} onChange={({ target }) => onChangeText(target.value)} />
);

interface SwitchProps {
  readonly accessibilityLabel?: string;
  readonly value: boolean;
  readonly onValueChange: (value: boolean) => void;
}

export const Switch = ({ accessibilityLabel, value, onValueChange }: SwitchProps): ReactElement => (
  <div role="switch" aria-label={accessibilityLabel} aria-checked={value} onClick={() => onValueChange(!value)} />
);

/** All items, not only the visible ones. */
export function FlatList<T>({ data, keyExtractor, renderItem }: FlatListProps<T>): ReactElement {
  return <div role="list">{data.map((item) => <div key={keyExtractor(item)}>{renderItem({ item })}</div>)}</div>;
}

interface FlatListProps<T> {
  readonly data: readonly T[];
  readonly keyExtractor: (item: T) => string;
  readonly renderItem: (of: { item: T }) => ReactNode;
}

export const Modal = ({ children }: Props): ReactElement => <div role="dialog">{children}</div>;
