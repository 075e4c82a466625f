/** The screen as a user reads it. */

/** The text, a line for each component: `(label)` is a button, `[text]` an input with its label, then `on` or `off` for a switch. */
export function visible(root: Element): string {
  const role = root.getAttribute('role');
  if (role === 'button') return `(${lines(root)})${root.getAttribute('aria-disabled') === 'true' ? ' disabled' : ''}`;
  if (role === 'switch') return `${root.getAttribute('aria-label')}: ${root.getAttribute('aria-checked') === 'true' ? 'on' : 'off'}`;
  if (root instanceof HTMLInputElement) return `${root.getAttribute('aria-label')}: [${root.value}]`;
  if (role === 'heading') return `# ${root.textContent}`;
  if (role === 'alert') return `! ${root.textContent}`;
  return root.children.length === 0 ? root.textContent : lines(root);
}

const lines = (root: Element): string => [...root.children].map(visible).filter((text) => text !== '').join('\n');
