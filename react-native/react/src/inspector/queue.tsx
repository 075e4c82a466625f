/** The sections of mutations that need no decision: the queue, and the history with undo. */
import type { AcceptedMutation, RejoinClient } from '@rejoin/react-native';
import type { ReactElement } from 'react';
import { View } from 'react-native';
import { keepItems } from '../identity';
import { useRejoin, useStore, useValue } from '../provider';
import { usePendingWrites } from '../queue';
import { reading } from '../reading';
import { aboutText, Actions, Entries, ErrorLine, Line, MutationHead, MutationRows, Section, SHOWN } from './parts';
import { styles } from './styles';

export function QueueSection(): ReactElement {
  const { pending, parked, error } = usePendingWrites();
  const count = (state: string): number => pending.filter((one) => one.state === state).length;
  return (
    <Section title="Queue">
      <Line>{`${count('pending')} pending, ${count('sent')} sent, ${count('uncertain')} uncertain, ${parked.length} parked`}</Line>
      <ErrorLine error={error} />
      <Entries of={pending}>
        {(mutation) => (
          <View style={styles.entry}>
            <MutationHead mutation={mutation} state={mutation.state} />
            {mutation.blockedBy !== undefined && <Line>{`Blocked by ${mutation.blockedBy}`}</Line>}
            <MutationRows rows={mutation.rows} />
          </View>
        )}
      </Entries>
    </Section>
  );
}

export function HistorySection(): ReactElement {
  const client = useRejoin<RejoinClient>();
  const store = useStore('inspector history', () =>
    reading<readonly AcceptedMutation[]>(client, [], {
      read: () => client.queue.history(SHOWN),
      concerns: ({ queue }) => queue,
      keep: keepItems,
    }),
  );
  const { value, isLoading, error } = useValue(store);
  const undo = async (id: string): Promise<string> => {
    const { kind } = await client.queue.undo(id);
    return kind === 'nothing' ? 'Nothing to undo: it did not change the rows of the server.' : 'A new mutation undoes it.';
  };
  return (
    <Section title="History">
      <ErrorLine error={error} />
      {value.length === 0 && !isLoading && error === undefined && <Line>No accepted mutations</Line>}
      <Entries of={value}>
        {(mutation) => (
          <View style={styles.entry}>
            <MutationHead mutation={mutation} state={mutation.undoes === undefined ? 'accepted' : `accepted, reverts ${mutation.undoes}`} />
            <MutationRows rows={mutation.rows} />
            <Actions all={[{ label: 'Undo', about: aboutText(mutation), run: () => undo(mutation.id) }]} />
          </View>
        )}
      </Entries>
    </Section>
  );
}
