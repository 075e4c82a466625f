/**
 * The places to inspect: search, add, tick, delete, and record a visit. Each row shows the sync state of its edits.
 *
 * The rows come from a watched query, so edits of other devices appear by themselves.
 */
import { useQuery, useRejoin } from '@rejoin/react';
import { memo, type ReactElement, useState } from 'react';
import { FlatList, Modal, Pressable, Text, View } from 'react-native';
import { addPlace, addVisit, deletePlace, type Place, PLACES, setDone } from './inspections';
import { type Act, Button, Failure, Field, Note, Row, styles, Title } from './parts';

export function PlacesScreen({ act }: { act: Act }): ReactElement {
  const client = useRejoin();
  const [name, setName] = useState('');
  const [visited, setVisited] = useState<Place>();
  const { rows, error } = useQuery<Place>(PLACES, [name], { key: ['id'], integers: 'number' });
  const add = async (): Promise<void> => {
    await addPlace(client, name.trim());
    setName('');
  };
  return (
    <View style={styles.grow}>
      <Row>
        <View style={styles.grow}>
          <Field label="Find or add a place" value={name} onChange={setName} />
        </View>
        <Button title="Add" disabled={name.trim() === ''} onPress={() => act(add)} />
      </Row>
      <Failure>{error === undefined ? '' : `The places cannot be read: ${error.message}`}</Failure>
      <FlatList
        data={rows}
        keyExtractor={({ id }) => id}
        renderItem={({ item }) => <PlaceItem place={item} act={act} onVisit={setVisited} />}
        keyboardShouldPersistTaps="handled"
        style={styles.grow}
      />
      {visited !== undefined && (
        <VisitSheet place={visited} onClose={() => setVisited(undefined)} onSave={(score) => act(() => addVisit(client, visited, score))} />
      )}
    </View>
  );
}

interface ItemProps {
  readonly place: Place;
  readonly act: Act;
  readonly onVisit: (place: Place) => void;
}

const PlaceItem = memo(function PlaceItem({ place, act, onVisit }: ItemProps): ReactElement {
  const client = useRejoin();
  const { name, country, done, state } = place;
  return (
    <Row>
      <Pressable
        accessibilityRole="checkbox"
        accessibilityLabel={`${name}: inspected`}
        accessibilityState={{ checked: done === 1 }}
        onPress={() => act(() => setDone(client, place, done === 0))}
        style={styles.button}
      >
        <Text style={styles.text}>{done === 1 ? '[x]' : '[ ]'}</Text>
      </Pressable>
      <View style={styles.grow}>
        <Text style={styles.text}>{name}</Text>
        <Note>{[country, state].filter((text) => text !== '').join(', ')}</Note>
      </View>
      <Button title="Visit" about={name} onPress={() => onVisit(place)} />
      <Button title="Delete" about={name} onPress={() => act(() => deletePlace(client, place))} />
    </Row>
  );
});

interface VisitProps {
  readonly place: Place;
  readonly onClose: () => void;
  readonly onSave: (score: number) => void;
}

function VisitSheet({ place, onClose, onSave }: VisitProps): ReactElement {
  const [score, setScore] = useState('');
  const save = (): void => {
    onSave(Number(score));
    onClose();
  };
  return (
    <Modal animationType="slide" onRequestClose={onClose}>
      <View style={styles.screen}>
        <Title>{`Visit of ${place.name}`}</Title>
        <Field label="Score" value={score} onChange={setScore} isNumber />
        <Note>The server rejects more than 100</Note>
        <Row>
          <Button title="Save" disabled={!/^\d{1,9}$/.test(score)} onPress={save} />
          <Button title="Cancel" onPress={onClose} />
        </Row>
      </View>
    </Modal>
  );
}
