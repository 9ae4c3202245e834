// What the board takes from CodeMirror. `README.md` beside this file says how it becomes `editor.js`.
export { EditorState, Compartment } from "@codemirror/state";
export {
  EditorView, keymap, lineNumbers, drawSelection, highlightSpecialChars, placeholder,
} from "@codemirror/view";
export { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
export {
  autocompletion, completionKeymap, acceptCompletion, closeBrackets, closeBracketsKeymap,
} from "@codemirror/autocomplete";
export { syntaxHighlighting, HighlightStyle, bracketMatching } from "@codemirror/language";
export { sql, PostgreSQL, SQLDialect } from "@codemirror/lang-sql";
export { tags } from "@lezer/highlight";
