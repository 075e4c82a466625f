/** Sign-in, or the three tabs with the sync status, and the conflict sheet above them. The screens are in their own files. */
import { usePendingWrites, useRejoin, useSyncStatus } from '@rejoin/react';
import { RejoinInspector } from '@rejoin/react/inspector';
import { type ReactElement, useEffect, useState } from 'react';
import { View } from 'react-native';
import { ParkedSheet } from './conflict';
import { signIn } from './inspections';
import { type Act, Button, Failure, Note, Row, styles, Title, useAct } from './parts';
import { PlacesScreen } from './places';
import { tokens } from './platform';
import { QueueScreen } from './queue';
import { SignInScreen } from './sign-in';

export function Main(): ReactElement {
  const client = useRejoin();
  /** Undefined until the token store was read. */
  const [isSignedIn, setSignedIn] = useState<boolean>();
  const [failure, act] = useAct();
  useEffect(
    () =>
      act(async () => {
        try {
          setSignedIn((await tokens.read()) !== null);
        } catch (error) {
          setSignedIn(false);
          throw error;
        }
      }),
    [act],
  );
  const enter = async (token: string): Promise<void> => {
    await signIn(client, token);
    setSignedIn(true);
  };
  return (
    <View style={styles.screen}>
      <Title>Inspections</Title>
      <SyncBadge />
      <Failure>{failure}</Failure>
      {isSignedIn === false && <SignInScreen onSignIn={(token) => act(() => enter(token))} />}
      {isSignedIn === true && <Tabs act={act} onSignIn={() => setSignedIn(false)} />}
    </View>
  );
}

/** The sync state, and the number of mutations that are not on the server. */
function SyncBadge(): ReactElement {
  const { kind } = useSyncStatus().state;
  const { pending, parked } = usePendingWrites();
  return <Note>{`${kind.replaceAll('-', ' ')}, ${pending.length} waiting, ${parked.length} to review`}</Note>;
}

const TABS = ['Places', 'Queue', 'Developer'] as const;

interface TabsProps {
  readonly act: Act;
  /** Shows the sign-in screen. */
  readonly onSignIn: () => void;
}

function Tabs({ act, onSignIn }: TabsProps): ReactElement {
  const client = useRejoin();
  const [tab, setTab] = useState<(typeof TABS)[number]>('Places');
  const [reviewed, setReviewed] = useState<string>();
  const [isOffline, setOffline] = useState(false);
  const needsAuth = useSyncStatus().state.kind === 'needs-auth';
  // For a demonstration: the client gets the report that there is no network. The next change of the real one overrides it.
  const goOffline = (offline: boolean): void =>
    act(async () => {
      client.sync.setNetwork({ online: !offline });
      setOffline(offline);
    });
  return (
    <View style={styles.grow}>
      <Row>
        {TABS.map((title) => (
          <Button key={title} title={title} disabled={title === tab} onPress={() => setTab(title)} />
        ))}
      </Row>
      {needsAuth && <Button title="Sign in again" onPress={onSignIn} />}
      {tab === 'Places' && <PlacesScreen act={act} />}
      {tab === 'Queue' && (
        <QueueScreen act={act} isOffline={isOffline} onOffline={goOffline} onReview={setReviewed} onSignedOut={onSignIn} />
      )}
      {tab === 'Developer' && <RejoinInspector />}
      {reviewed !== undefined && <ParkedSheet id={reviewed} onClose={() => setReviewed(undefined)} />}
    </View>
  );
}
