/**
 * The queue: what waits for the user, what waits for the server, the offline switch and sign-out.
 *
 * A parked mutation opens in the conflict sheet, where the user decides.
 */
import type { PendingMutation } from '@rejoin/react-native';
import { useParkedWrites, usePendingWrites, useRejoin, useSyncStatus } from '@rejoin/react';
import { type ReactElement, useState } from 'react';
import { ScrollView, Switch, Text, View } from 'react-native';
import { signOut } from './inspections';
import { type Act, Button, Failure, Note, Row, styles, Title } from './parts';

interface Props {
  readonly act: Act;
  readonly isOffline: boolean;
  readonly onOffline: (isOffline: boolean) => void;
  readonly onReview: (id: string) => void;
  readonly onSignedOut: () => void;
}

export function QueueScreen({ act, isOffline, onOffline, onReview, onSignedOut }: Props): ReactElement {
  const { writes, error: parkedError } = useParkedWrites();
  const { pending, error } = usePendingWrites();
  const { state } = useSyncStatus();
  return (
    <ScrollView>
      <Row>
        <Text style={styles.text}>Offline</Text>
        <Switch accessibilityLabel="Offline" value={isOffline} onValueChange={onOffline} />
      </Row>
      <Note>For a demonstration: the app behaves as without a network</Note>
      <Failure>{(error ?? parkedError)?.message ?? ''}</Failure>
      <Title>{`To review: ${writes.length}`}</Title>
      {writes.map(({ id, mutation, message }) => (
        <View key={id}>
          <Button title={rowsText(mutation)} about={message ?? mutation.reason ?? ''} onPress={() => onReview(id)} />
          <Note>{message ?? mutation.reason}</Note>
        </View>
      ))}
      <Title>{`Waiting: ${pending.length}`}</Title>
      {pending.map((mutation) => (
        <Note key={mutation.id}>{`${rowsText(mutation)}: ${mutation.state}`}</Note>
      ))}
      {'reason' in state && (
        <>
          <Title>Server</Title>
          <Note>{state.reason}</Note>
        </>
      )}
      <SignOut act={act} onSignedOut={onSignedOut} />
    </ScrollView>
  );
}

/** What a mutation does, such as `update places, insert visits`. */
const rowsText = ({ rows }: PendingMutation): string => [...new Set(rows.map(({ operation, table }) => `${operation} ${table}`))].join(', ');

function SignOut({ act, onSignedOut }: Pick<Props, 'act' | 'onSignedOut'>): ReactElement {
  const client = useRejoin();
  const [unsent, setUnsent] = useState(0);
  const leave = (discardUnsent: boolean): void =>
    act(async () => {
      const kept = await signOut(client, { discardUnsent });
      setUnsent(kept);
      if (kept === 0) onSignedOut();
    });
  if (unsent === 0) return <Button title="Sign out" onPress={() => leave(false)} />;
  return (
    <>
      <Note>{`${unsent} changes are not on the server. Delete them?`}</Note>
      <Row>
        <Button title="Delete and sign out" onPress={() => leave(true)} />
        <Button title="Cancel" onPress={() => setUnsent(0)} />
      </Row>
    </>
  );
}
