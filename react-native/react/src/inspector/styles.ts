/** The styles of the inspector. It is always light, so that it does not depend on the app's theme. */
import { StyleSheet } from 'react-native';

const button = { backgroundColor: '#1d4ed8', borderRadius: 6, justifyContent: 'center', minHeight: 44, paddingHorizontal: 14 } as const;

export const styles = StyleSheet.create({
  screen: { backgroundColor: '#ffffff', flexGrow: 1, padding: 12 },
  section: { marginBottom: 20 },
  title: { color: '#111111', fontSize: 18, fontWeight: '600', marginBottom: 6 },
  entry: { borderTopColor: '#cccccc', borderTopWidth: 1, paddingVertical: 8 },
  column: { borderLeftColor: '#cccccc', borderLeftWidth: 3, marginVertical: 4, paddingLeft: 8 },
  line: { color: '#111111', fontSize: 13 },
  conflict: { color: '#111111', fontSize: 13, fontWeight: '700' },
  error: { color: '#b00020', fontSize: 13 },
  actions: { flexDirection: 'row', flexWrap: 'wrap', gap: 8, marginVertical: 6 },
  button,
  disabledButton: { ...button, opacity: 0.4 },
  label: { color: '#ffffff', fontSize: 15 },
});
