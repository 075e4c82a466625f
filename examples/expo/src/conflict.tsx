/**
 * The sheet of a parked mutation: both values of each column, and the user's decision. All decisions work offline.
 *
 * The values follow later changes of the rows, so the user sees what a decision compares with.
 */
import { type ParkedColumn, type ParkedDecisions, type ParkedRow, type ParkedWrite, updateRow, useParkedWrites } from '@rejoin/react';
import { type ReactElement, useState } from 'react';
import { Modal, ScrollView, Text, View } from 'react-native';
import { Button, Failure, Field, Note, Row, styles, Title, useAct } from './parts';
import { columnOf, parseField, valueText } from './values';

/** The edited values of a row by column; null stands for NULL. */
type Draft = Readonly<Record<string, string | null>>;

export function ParkedSheet({ id, onClose }: { id: string; onClose: () => void }): ReactElement {
  const { writes, ...decisions } = useParkedWrites();
  const write = writes.find((one) => one.id === id);
  return (
    <Modal animationType="slide" onRequestClose={onClose}>
      <ScrollView style={styles.screen} keyboardShouldPersistTaps="handled">
        {write === undefined && <Note>This change does not wait for a decision.</Note>}
        {write !== undefined && <Decision write={write} decisions={decisions} onDecided={onClose} />}
        <Button title="Close" onPress={onClose} />
      </ScrollView>
    </Modal>
  );
}

interface DecisionProps {
  readonly write: ParkedWrite;
  readonly decisions: ParkedDecisions;
  readonly onDecided: () => void;
}

function Decision({ write, decisions: { keepMine, takeTheirs, edit }, onDecided }: DecisionProps): ReactElement {
  const { id, mutation, message, isConflict, rows, moreRows, dependents } = write;
  const [failure, act] = useAct();
  const [drafts, setDrafts] = useState<readonly Draft[]>([]);
  const decide = (call: () => Promise<void>): void => act(() => call().then(onDecided));
  const setDraft = (at: number, draft: Draft): void => setDrafts(rows.map((_, row) => (row === at ? draft : (drafts[row] ?? {}))));
  const send = async (): Promise<void> => {
    const edited = rows.map((row, at) => [row, Object.entries(drafts[at] ?? {})] as const).filter(([, values]) => values.length > 0);
    const parsed = ({ table }: ParkedRow, values: [string, string | null][]) => values.map(([name, text]) => [name, parseField(table, name, text)]);
    await edit(id, edited.map(([row, values]) => updateRow(row, Object.fromEntries(parsed(row, values)))));
  };
  return (
    <View>
      <Title>{isConflict ? 'Changed here and on the server' : 'Not accepted by the server'}</Title>
      <Note>{message ?? mutation.reason}</Note>
      {rows.map((row, at) => (
        <RowFields key={at} row={row} draft={drafts[at] ?? {}} onChange={(draft) => setDraft(at, draft)} />
      ))}
      {moreRows > 0 && <Note>{`${moreRows} more rows`}</Note>}
      {dependents.length > 0 && <Note>{`Decides ${dependents.length} later changes, too`}</Note>}
      <Failure>{failure}</Failure>
      <Row>
        <Button title={isConflict ? 'Keep mine' : 'Send again'} onPress={() => decide(() => keepMine(id))} />
        <Button title={isConflict ? 'Take theirs' : 'Discard'} onPress={() => decide(() => takeTheirs(id))} />
        <Button title="Send these values" disabled={drafts.length === 0} onPress={() => decide(send)} />
      </Row>
    </View>
  );
}

function RowFields({ row, draft, onChange }: { row: ParkedRow; draft: Draft; onChange: (draft: Draft) => void }): ReactElement {
  const { table, operation, columns } = row;
  return (
    <View>
      <Title>{`${operation} ${table}`}</Title>
      {columns.map((column) => {
        const set = (text: string | null): void => onChange({ ...draft, [column.name]: text });
        const text = draft[column.name];
        return (
          <View key={column.name}>
            <BothValues column={column} />
            {operation !== 'delete' && <Field label={column.name} value={(text === undefined ? fieldText(column) : text) ?? ''} onChange={set} />}
            {operation !== 'delete' && columnOf(table, column.name)?.nullable === true && (
              <Button title={text === null ? 'NULL is sent' : 'Set NULL'} about={column.name} onPress={() => set(null)} />
            )}
          </View>
        );
      })}
    </View>
  );
}

const fieldText = ({ mine }: ParkedColumn): string => (mine === null || mine === undefined ? '' : valueText(mine));

const BothValues = ({ column: { name, mine, theirs, isConflict } }: { column: ParkedColumn }): ReactElement => (
  <View>
    <Text style={styles.text}>{isConflict ? `${name} (in conflict)` : name}</Text>
    <Note>{`Mine: ${mine === undefined ? 'deleted' : valueText(mine)}`}</Note>
    <Note>{`Theirs: ${valueText(theirs)}`}</Note>
  </View>
);
