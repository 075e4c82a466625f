/**
 * Asks for the token that identifies the user. examples/android/server/token.sh prints one; a real app gets it from the server that its
 * users sign in to. Nothing checks it here: the sync status shows if the server rejects it.
 */
import { type ReactElement, useState } from 'react';
import { View } from 'react-native';
import { Button, Field, Note } from './parts';

export function SignInScreen({ onSignIn }: { onSignIn: (token: string) => void }): ReactElement {
  const [token, setToken] = useState('');
  return (
    <View>
      <Note>Paste the token that server/token.sh prints.</Note>
      <Field label="Token" value={token} onChange={setToken} isSecret />
      <Button title="Sign in" disabled={token.trim() === ''} onPress={() => onSignIn(token)} />
    </View>
  );
}
