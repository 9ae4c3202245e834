// The SQL editor: CodeMirror with completion of our tables, columns and functions. It lives in a shadow root, because there
// CodeMirror's styles need no inline style element, which the page's policy forbids.

import * as cm from "./vendor/editor.js";

/** PostgreSQL's words, and `$from` as a name. */
const DIALECT = cm.SQLDialect.define({ ...cm.PostgreSQL.spec, specialVar: "$" });

const LOOK = cm.EditorView.theme({
  "&": { fontSize: "13px", color: "var(--ink)", backgroundColor: "var(--surface)" },
  "&.cm-focused": { outline: "none" },
  ".cm-content": { fontFamily: "var(--mono)", minHeight: "9rem", caretColor: "var(--ink)" },
  ".cm-scroller": { maxHeight: "24rem", overflow: "auto" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--muted)", border: "none" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  ".cm-activeLine": { backgroundColor: "transparent" },
  "&.cm-focused .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "var(--selection) !important" },
  ".cm-tooltip": { backgroundColor: "var(--surface)", color: "var(--ink)", border: "1px solid var(--line)", borderRadius: "4px" },
  ".cm-tooltip-autocomplete > ul > li[aria-selected]": { backgroundColor: "var(--accent)", color: "var(--on-accent)" },
  ".cm-completionDetail": { color: "var(--muted)", fontStyle: "normal", marginLeft: "1.5em" },
  "li[aria-selected] .cm-completionDetail": { color: "inherit" },
  ".cm-placeholder": { color: "var(--muted)" },
});

const COLOURS = cm.HighlightStyle.define([
  { tag: cm.tags.keyword, color: "var(--code-keyword)", fontWeight: "600" },
  { tag: [cm.tags.string, cm.tags.special(cm.tags.string)], color: "var(--code-string)" },
  { tag: [cm.tags.number, cm.tags.bool, cm.tags.null], color: "var(--code-number)" },
  { tag: cm.tags.special(cm.tags.name), color: "var(--code-number)" },
  { tag: cm.tags.comment, color: "var(--muted)", fontStyle: "italic" },
]);

/**
 * Typing over a selection, done here: Chromium itself would keep the colours of what it removes in a style attribute, which the
 * page's policy refuses with a message in its console.
 */
function replaceSelection(event, view) {
  const { from, to, empty } = view.state.selection.main;
  if (event.inputType !== "insertText" || !event.data || empty || view.composing) return false;
  const insert = () => view.state.update({
    changes: { from, to, insert: event.data }, selection: { anchor: from + event.data.length }, userEvent: "input.type", scrollIntoView: true,
  });
  const handled = view.state.facet(cm.EditorView.inputHandler).some((handle) => handle(view, from, to, event.data, insert));
  if (!handled) view.dispatch(insert());
  event.preventDefault();
  return true;
}

/** Columns of the tables that the statement names after FROM and JOIN, of `calls` before it names any; and functions. */
function words({ tables, functions }) {
  const calls = functions.map(({ name, detail }) => ({
    label: name, type: "function", detail, boost: -1,
    apply: (view, completion, from, to) => {
      const text = `${name}()`;
      view.dispatch({ changes: { from, to, insert: text }, selection: { anchor: from + text.length - 1 } });
    },
  }));
  return (context) => {
    const word = context.matchBefore(/\w+/);
    if (!word && !context.explicit) return null;
    // Behind a dot the schema's own completion knows more.
    if (word && context.state.sliceDoc(word.from - 1, word.from) === ".") return null;
    const text = context.state.doc.toString();
    const named = [...text.matchAll(/\b(?:from|join)\s+(\w+)/gi)].map((found) => found[1].toLowerCase()).filter((name) => tables[name]);
    const columns = (named.length > 0 ? [...new Set(named)] : ["calls"]).flatMap((table) =>
      (tables[table] ?? []).map(({ name, type }) => ({ label: name, type: "property", detail: type, boost: 2 })));
    const sources = Object.keys(tables).map((name) => ({ label: name, type: "class", detail: "table", boost: 1 }));
    // Behind FROM and JOIN there are only tables.
    const table = /\b(?:from|join)\s+\w*$/i.test(text.slice(0, context.pos));
    return { from: word ? word.from : context.pos, options: table ? sources : [...columns, ...sources, ...calls], validFor: /^\w*$/ };
  };
}

/** An editor in `host`. Returns the editor's text and how to change text and schema. */
export function editor(host, { label, hint, onRun }) {
  const root = host.attachShadow({ mode: "open" });
  const place = document.createElement("div");
  root.append(place);
  const language = new cm.Compartment();
  const support = ({ tables = {}, functions = [] } = {}) => {
    const schema = Object.fromEntries(Object.entries(tables).map(([name, columns]) => [name, columns.map((column) => ({ label: column.name, detail: column.type, type: "property" }))]));
    const sql = cm.sql({ dialect: DIALECT, schema, upperCaseKeywords: true });
    return [sql, DIALECT.language.data.of({ autocomplete: words({ tables, functions }) })];
  };
  const view = new cm.EditorView({
    root,
    parent: place,
    state: cm.EditorState.create({
      doc: "",
      extensions: [
        cm.lineNumbers(), cm.highlightSpecialChars(), cm.history(), cm.drawSelection(), cm.bracketMatching(), cm.closeBrackets(),
        cm.autocompletion({ icons: false }), cm.placeholder(hint), cm.EditorView.lineWrapping,
        cm.EditorView.domEventHandlers({ beforeinput: replaceSelection }),
        cm.keymap.of([
          { key: "Mod-Enter", run: () => { onRun(); return true; } },
          { key: "Tab", run: cm.acceptCompletion },
          ...cm.closeBracketsKeymap, ...cm.completionKeymap, ...cm.historyKeymap, ...cm.defaultKeymap,
        ]),
        language.of(support()), LOOK, cm.syntaxHighlighting(COLOURS), cm.EditorView.contentAttributes.of({ "aria-label": label }),
      ],
    }),
  });
  return {
    get text() { return view.state.doc.toString(); },
    set text(text) { view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } }); },
    schema: (schema) => view.dispatch({ effects: language.reconfigure(support(schema)) }),
    focus: () => view.focus(),
  };
}
