/** The app: it opens the database once, and gives it to the screens below. */
import type { RejoinClient } from '@rejoin/react-native';
import { RejoinProvider } from '@rejoin/react';
import { type ReactElement, useEffect, useState } from 'react';
import { View } from 'react-native';
import { openInspections } from './src/inspections';
import { Main } from './src/main';
import { Failure, Note, styles } from './src/parts';

// Outside of components: a reload of the code gets the same database.
const opening = openInspections();

export default function App(): ReactElement {
  const [client, setClient] = useState<RejoinClient>();
  const [failure, setFailure] = useState('');
  useEffect(() => void opening.then(setClient, (error: unknown) => setFailure(String(error))), []);
  if (client !== undefined) return <RejoinProvider client={client}><Main /></RejoinProvider>;
  return (
    <View style={styles.screen}>
      {failure === '' ? <Note>Opening the database</Note> : <Failure>{failure}</Failure>}
    </View>
  );
}
