// Gradio puts this script into the page; what it does lies in the modules beside it. Whoever calls
// before they are there is served once they are.
(() => {
  const modules = import(new URL("attune/main.js", document.baseURI));
  window.attune = {
    connect: async (token) => (await modules).connect(token),
    wake: async () => (await modules).wake(),
  };
})();
