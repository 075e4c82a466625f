/**
 * The inspector screen: sync status, queue, parked mutations, history, diagnosis.
 *
 * It follows the client of the nearest `RejoinProvider` and changes nothing until a button is pressed. It shows data of the user, so the
 * app decides who may open it. Works offline.
 */
import type { RejoinClient } from '@rejoin/react-native';
import type { ReactElement } from 'react';
import { ScrollView } from 'react-native';
import { useRejoin } from '../provider';
import { useSyncStatus } from '../status';
import { ParkedSection } from './parked';
import { Actions, Line, Section, timeText } from './parts';
import { HistorySection, QueueSection } from './queue';
import { styles } from './styles';

/**
 * A screen with the state of the client: the sync status, the mutations that the server has not accepted, the decisions about parked ones,
 * the history with undo, and `diagnose`.
 *
 * ```tsx
 * <RejoinProvider client={client}><RejoinInspector /></RejoinProvider>
 * ```
 *
 * It needs a `RejoinClient`, and scrolls in the space that its parent gives it. The error of a button is shown next to the button. Each
 * section shows at most 20 entries, and 20 rows of each.
 *
 * @throws Error if there is no provider.
 */
export function RejoinInspector(): ReactElement {
  return (
    <ScrollView contentContainerStyle={styles.screen}>
      <StatusSection />
      <QueueSection />
      <ParkedSection />
      <HistorySection />
      <DiagnoseSection />
    </ScrollView>
  );
}

const TIMES = new Set(['atMs', 'retryAtMs', 'sinceMs']);

function StatusSection(): ReactElement {
  const client = useRejoin<RejoinClient>();
  const { state, firstSync } = useSyncStatus();
  const { kind, ...details } = state;
  const sync = async (): Promise<string> => {
    const { accepted, parked, pulled, stillPending } = await client.sync.run();
    return `${accepted} accepted, ${parked} parked, ${pulled} rows received, ${stillPending} still pending`;
  };
  return (
    <Section title="Status">
      <Line>{`State: ${kind}`}</Line>
      {Object.entries(details).map(([name, value]) => (
        <Line key={name}>{`${name}: ${TIMES.has(name) ? timeText(Number(value)) : String(value)}`}</Line>
      ))}
      <Line>{`First sync: ${firstSync}`}</Line>
      <Actions all={[{ label: 'Sync now', run: sync }]} />
    </Section>
  );
}

function DiagnoseSection(): ReactElement {
  const client = useRejoin<RejoinClient>();
  const diagnose = async (): Promise<string> => JSON.stringify(await client.storage.diagnose(), null, 2);
  return (
    <Section title="Diagnosis">
      <Line>A report without data and credentials.</Line>
      <Actions all={[{ label: 'Diagnose', run: diagnose }]} />
    </Section>
  );
}
