/** A screen of an app: the tasks of the database and a button that adds one. */
import { useQuery, useRejoin } from '@rejoin/react';
import type { ReactElement } from 'react';
import { Pressable, Text, View } from 'react-native';

type Task = { id: string; title: string };

export function TaskList(): ReactElement {
  const client = useRejoin();
  const { rows, isLoading } = useQuery<Task>('SELECT id, title FROM task ORDER BY id');
  const add = (): unknown => client.execute('INSERT INTO task (id, title) VALUES (?, ?)', [`t${rows.length}`, `task ${rows.length}`]);
  if (isLoading) return <Text>loading</Text>;
  return (
    <View>
      {rows.map(({ id, title }) => (
        <Text key={id}>{title}</Text>
      ))}
      <Pressable accessibilityRole="button" accessibilityLabel="add" onPress={() => void add()} />
    </View>
  );
}
