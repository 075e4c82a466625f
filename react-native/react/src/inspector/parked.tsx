/** The section of parked mutations: both values of each column, the reason, and the decision. */
import type { ReactElement } from 'react';
import { Text, View } from 'react-native';
import { useParkedWrites } from '../parked';
import type { ParkedColumn, ParkedWrite } from '../parked-types';
import { aboutText, Actions, Entries, ErrorLine, Line, MutationHead, rowText, Section, valueText } from './parts';
import { styles } from './styles';

export function ParkedSection(): ReactElement {
  const { writes, isLoading, error, keepMine, takeTheirs } = useParkedWrites();
  return (
    <Section title="Parked">
      <ErrorLine error={error} />
      {writes.length === 0 && !isLoading && error === undefined && <Line>No mutation waits for a decision</Line>}
      <Entries of={writes}>
        {(write) => {
          const about = aboutText(write.mutation);
          return (
            <View style={styles.entry}>
              <Details write={write} />
              <Actions
                all={[
                  { label: 'Keep mine', about, run: () => keepMine(write.id) },
                  { label: 'Take theirs', about, run: () => takeTheirs(write.id) },
                ]}
              />
            </View>
          );
        }}
      </Entries>
    </Section>
  );
}

function Details({ write: { mutation, message, rows, moreRows, dependents } }: { write: ParkedWrite }): ReactElement {
  return (
    <>
      <MutationHead mutation={mutation} state="parked" />
      <Line>{`Reason: ${mutation.reason ?? 'unknown'}${message === undefined ? '' : `: ${message}`}`}</Line>
      <Entries of={rows} more={moreRows}>
        {(row) => (
          <>
            <Line>{`${rowText(row)}${row.exists ? '' : ', which does not exist without it'}`}</Line>
            {row.columns.map((column) => (
              <Column key={column.name} {...column} />
            ))}
          </>
        )}
      </Entries>
      {dependents.length > 0 && <Line>{`Decided with it: ${dependents.map(({ seq }) => `#${seq}`).join(', ')}`}</Line>}
    </>
  );
}

function Column({ name, mine, theirs, isConflict }: ParkedColumn): ReactElement {
  return (
    <View style={styles.column}>
      <Text style={isConflict ? styles.conflict : styles.line}>{isConflict ? `${name} (conflict)` : name}</Text>
      <Line>{`Mine: ${mine === undefined ? 'deleted' : valueText(mine)}`}</Line>
      <Line>{`Theirs: ${theirs === undefined ? 'no row' : valueText(theirs)}`}</Line>
    </View>
  );
}
