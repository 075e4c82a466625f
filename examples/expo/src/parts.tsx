/** What the screens are made of: buttons, fields, notes, and calls whose errors are shown. */
import { type ReactElement, type ReactNode, useCallback, useState } from 'react';
import { Pressable, StyleSheet, Text, TextInput, View } from 'react-native';

/** Runs a call of a screen. If it fails, nothing was changed, and the message is shown. */
export type Act = (call: () => Promise<unknown>) => void;

/** The message of the call that failed last, or an empty text, and the function that runs calls. */
export function useAct(): [failure: string, act: Act] {
  const [failure, setFailure] = useState('');
  const act = useCallback((call: () => Promise<unknown>) => {
    setFailure('');
    call().catch((error: unknown) => setFailure(error instanceof Error ? error.message : String(error)));
  }, []);
  return [failure, act];
}

interface ButtonProps {
  readonly title: string;
  /** What it is about, for a screen reader. */
  readonly about?: string;
  readonly disabled?: boolean;
  readonly onPress: () => void;
}

export function Button({ title, about, disabled = false, onPress }: ButtonProps): ReactElement {
  return (
    <Pressable
      accessibilityRole="button"
      accessibilityLabel={about === undefined ? title : `${title}: ${about}`}
      accessibilityState={{ disabled }}
      disabled={disabled}
      onPress={onPress}
      style={styles.button}
    >
      <Text style={disabled ? styles.note : styles.link}>{title}</Text>
    </Pressable>
  );
}

interface FieldProps {
  readonly label: string;
  readonly value: string;
  readonly onChange: (text: string) => void;
  readonly isNumber?: boolean;
  readonly isSecret?: boolean;
}

export function Field({ label, value, onChange, isNumber = false, isSecret = false }: FieldProps): ReactElement {
  return (
    <TextInput
      accessibilityLabel={label}
      placeholder={label}
      value={value}
      onChangeText={onChange}
      keyboardType={isNumber ? 'numbers-and-punctuation' : 'default'}
      secureTextEntry={isSecret}
      autoCapitalize="none"
      autoCorrect={false}
      style={styles.field}
    />
  );
}

export const Title = ({ children }: { children: ReactNode }): ReactElement => (
  <Text accessibilityRole="header" style={styles.title}>
    {children}
  </Text>
);

export const Note = ({ children }: { children: ReactNode }): ReactElement => <Text style={styles.note}>{children}</Text>;

export const Row = ({ children }: { children: ReactNode }): ReactElement => <View style={styles.row}>{children}</View>;

/** The message of a failed call, which a screen reader announces; nothing for an empty text. */
export function Failure({ children }: { children: string }): ReactElement | null {
  if (children === '') return null;
  return (
    <Text accessibilityRole="alert" selectable style={styles.failure}>
      {children}
    </Text>
  );
}

export const styles = StyleSheet.create({
  // Below the status bar and above the bar of gestures.
  screen: { backgroundColor: '#ffffff', flex: 1, paddingBottom: 32, paddingHorizontal: 16, paddingTop: 56 },
  row: { alignItems: 'center', flexDirection: 'row', flexWrap: 'wrap', gap: 12 },
  grow: { flex: 1 },
  title: { color: '#111111', fontSize: 18, fontWeight: '600', marginTop: 12 },
  text: { color: '#111111', fontSize: 16 },
  note: { color: '#555555', fontSize: 14 },
  failure: { color: '#b00020', fontSize: 14 },
  link: { color: '#1d4ed8', fontSize: 16 },
  button: { justifyContent: 'center', minHeight: 44 },
  field: { borderColor: '#999999', borderRadius: 6, borderWidth: 1, color: '#111111', fontSize: 16, marginVertical: 6, padding: 10 },
});
