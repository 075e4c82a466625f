/** Classes and values of the package in jest's own global object, in a second file of the same process. */
import { ConstraintError, RejoinClient, RejoinConfig, RejoinError } from '@rejoin/react-native';

test('errors and bytes are instances of the classes that the app sees', async () => {
  const client = await RejoinClient.open(RejoinConfig.temporary());
  await client.schema.createTable('photo', 'id TEXT PRIMARY KEY, data BLOB');
  await client.execute('INSERT INTO photo VALUES (?, ?)', ['p1', new Uint8Array([1, 2])]);
  const error: unknown = await client.execute('INSERT INTO photo VALUES (?, ?)', ['p1', null]).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(ConstraintError);
  expect(error).toBeInstanceOf(RejoinError);
  expect(error).toBeInstanceOf(Error);
  const row = await client.queryOne<{ data: Uint8Array }>('SELECT data FROM photo');
  expect(row?.data).toBeInstanceOf(Uint8Array);
  expect(row).toEqual({ data: new Uint8Array([1, 2]) });
  await client.shutdown();
});
