/** What the sections are made of: titles, lines, mutations, and buttons that show the result or the error of their call. */
import type { AcceptedMutation, PendingMutation, PendingRow, RejoinError } from '@rejoin/react-native';
import { Fragment, type ReactElement, type ReactNode, useState } from 'react';
import { Pressable, Text, View } from 'react-native';
import { encode } from '../identity';
import { useRuns } from '../writes';
import { styles } from './styles';

/** The number of entries that a list shows. */
export const SHOWN = 20;
const SHOWN_CHARACTERS = 200;

/** A value, truncated if long. Text is in quotes, so that it differs from NULL and numbers. */
export function valueText(value: unknown): string {
  const text = encode(value);
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}...` : text;
}

/** A time in the language of the device. */
export const timeText = (ms: number): string => new Date(ms).toLocaleString();

/** What is done to a row. */
export function rowText({ operation, table, key }: Pick<PendingRow, 'operation' | 'table' | 'key'>): string {
  return `${operation} ${table} ${valueText(key)}`;
}

/** What a mutation does to its first row, for the labels of its buttons. */
export const aboutText = ({ id, rows: [first] }: Pick<PendingMutation, 'id' | 'rows'>): string => (first === undefined ? id : rowText(first));

export function Line({ children }: { children: ReactNode }): ReactElement {
  return (
    <Text selectable style={styles.line}>
      {children}
    </Text>
  );
}

/** Text that a screen reader announces. */
export function ErrorLine({ error }: { error: Error | undefined }): ReactElement | null {
  if (error === undefined) return null;
  const code = (error as Partial<RejoinError>).code;
  return (
    <Text selectable accessibilityRole="alert" style={styles.error}>
      {code === undefined ? error.message : `${code}: ${error.message}`}
    </Text>
  );
}

export function Section({ title, children }: { title: string; children: ReactNode }): ReactElement {
  return (
    <View style={styles.section}>
      <Text accessibilityRole="header" style={styles.title}>
        {title}
      </Text>
      {children}
    </View>
  );
}

/** The first entries of a list, and the number of the others. */
export function Entries<T>({ of, more = 0, children }: { of: readonly T[]; more?: number; children: (entry: T) => ReactNode }): ReactElement {
  const hidden = Math.max(0, of.length - SHOWN) + more;
  return (
    <>
      {of.slice(0, SHOWN).map((entry, at) => (
        <Fragment key={(entry as { id?: string }).id ?? at}>{children(entry)}</Fragment>
      ))}
      {hidden > 0 && <Line>{`${hidden} more`}</Line>}
    </>
  );
}

/** A call of the client behind a button. */
export interface Action {
  readonly label: string;
  /** What it is about, for a screen reader. */
  readonly about?: string;
  /** The text that it returns is shown. */
  readonly run: () => Promise<string | void>;
}

/** Buttons of which one runs at a time, with the result or the error of the latest call. */
export function Actions({ all }: { all: readonly Action[] }): ReactElement {
  const [{ isRunning, error }, track] = useRuns();
  const [result, setResult] = useState('');
  const press = (run: Action['run']): void => {
    setResult('');
    // The error is in the state.
    track(run).then((text) => setResult(text ?? ''), () => undefined);
  };
  return (
    <View>
      <View style={styles.actions}>
        {all.map(({ label, about, run }) => (
          <Pressable
            key={label}
            accessibilityRole="button"
            accessibilityLabel={about === undefined ? label : `${label}: ${about}`}
            accessibilityState={{ disabled: isRunning, busy: isRunning }}
            disabled={isRunning}
            onPress={() => press(run)}
            style={isRunning ? styles.disabledButton : styles.button}
          >
            <Text style={styles.label}>{label}</Text>
          </Pressable>
        ))}
      </View>
      <ErrorLine error={error} />
      {result !== '' && <Line>{result}</Line>}
    </View>
  );
}

/** The position, id, origin and attempt of a mutation, and what it has written. */
export function MutationHead({ mutation, state }: { mutation: PendingMutation | AcceptedMutation; state: string }): ReactElement {
  const { seq, id, action, attempt, writtenMs } = mutation;
  return (
    <>
      <Line>{`#${seq} ${state}, attempt ${attempt}${action === undefined ? '' : `, by ${action}`}`}</Line>
      <Line>{`${id}, written ${timeText(writtenMs)}`}</Line>
    </>
  );
}

/** The rows of a mutation with the old and the new value of each column. */
export function MutationRows({ rows }: { rows: readonly PendingRow[] }): ReactElement {
  return (
    <Entries of={rows}>
      {(row) => (
        <>
          <Line>{rowText(row)}</Line>
          {row.columns.map(({ name, oldValue, newValue }) => (
            <Line key={name}>{`  ${name}: ${valueText(oldValue)} -> ${valueText(newValue)}`}</Line>
          ))}
        </>
      )}
    </Entries>
  );
}
