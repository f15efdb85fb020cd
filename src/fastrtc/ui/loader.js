// Gradio runs this for each component: it loads the client's modules, once a page, and hands over.
const load = async () => {
  const urls = {};
  // Each comes after those that it names.
  for (const [name, source] of await server.modules({})) {
    const linked = source.replace(/"\.\/([\w-]+\.js)"/g, (text, file) => JSON.stringify(urls[file] ?? text));
    urls[name] = URL.createObjectURL(new Blob([linked, "\n//# sourceURL=fastrtc/", name], { type: "text/javascript" }));
  }
  return import(urls["component.js"]);
};
window.fastrtcModules ??= load();
window.fastrtcModules.then(
  ({ mount }) => mount(element, { trigger, props, server, watch }),
  (error) => {
    window.fastrtcModules = undefined;
    trigger("error", "FastRTC could not be loaded: " + error.message);
  },
);
