/** The examples of the README, as an app has them; `readme.test.ts` compares them, `examples.test.tsx` runs them. */
import type { RejoinClient } from '@rejoin/react-native';
import { memo, type ReactElement } from 'react';
import { RejoinProvider, useAction, useParkedWrites, useQuery, useRejoin } from '../src/index';
import { RejoinInspector } from '../src/inspector/index';

export function App({ client }: { client: RejoinClient }): ReactElement {
  return (
    <RejoinProvider client={client}>
      <TaskList done={false} />
      <ParkedList />
    </RejoinProvider>
  );
}

type Task = { id: string; title: string; done: boolean };

function TaskList({ done }: { done: boolean }): ReactElement {
  const sql = 'SELECT id, title, done FROM tasks WHERE done = ? ORDER BY position';
  const { rows, isLoading, error, retry } = useQuery<Task>(sql, [done], { key: ['id'] });
  if (error !== undefined) return <button onClick={retry}>{error.message}</button>;
  if (isLoading) return <p>Loading</p>;
  return <ul>{rows.map((task) => <TaskItem key={task.id} task={task} />)}</ul>;
}

const TaskItem = memo(function TaskItem({ task }: { task: Task }): ReactElement {
  const client = useRejoin();
  const toggle = () => client.execute('UPDATE tasks SET done = ? WHERE id = ?', [!task.done, task.id]);
  return <li onClick={toggle}>{`${task.done ? '✓' : '○'} ${task.title}`}</li>;
});

function ParkedList(): ReactElement {
  const { writes, keepMine, takeTheirs } = useParkedWrites();
  return <>{writes.map((write) => (
    <section key={write.id}>
      <p>{write.message}</p>
      {write.rows.flatMap((row) => row.columns).map(({ name, mine, theirs }) => (
        <p key={name}>{`${name}: ${String(mine)} or ${String(theirs)}`}</p>
      ))}
      <button onClick={() => keepMine(write.id)}>Keep mine</button>
      <button onClick={() => takeTheirs(write.id)}>Take theirs</button>
    </section>
  ))}</>;
}

export function TakeButton({ id }: { id: string }): ReactElement {
  const take = useAction<{ id: string; n: number }, { left: number }>('take');
  return (
    <button disabled={take.isRunning} onClick={() => take.run({ id, n: 2 })}>
      {`Take 2 (${take.pending.length} not sent, ${take.parked.length} not accepted) ${take.error?.message ?? ''}`}
    </button>
  );
}

export function DeveloperScreen({ client }: { client: RejoinClient }): ReactElement {
  return (
    <RejoinProvider client={client}>
      <RejoinInspector />
    </RejoinProvider>
  );
}
