// Cuts microphone sound into pieces of a tenth of a second, as 16-bit integers with their time.
class Pieces extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Int16Array(Math.round(sampleRate / 10));
    this.filled = 0;
    this.startS = 0;
  }

  process([channels]) {
    const sound = channels[0];
    if (!sound) return true;
    for (let i = 0; i < sound.length; i++) {
      if (this.filled === 0) this.startS = (currentFrame + i) / sampleRate;
      this.piece[this.filled++] = Math.max(-1, Math.min(1, sound[i])) * 32767;
      if (this.filled === this.piece.length) this.send();
    }
    return true;
  }

  send() {
    const pcm = this.piece.slice().buffer;
    this.port.postMessage({ timeS: this.startS, rateHz: sampleRate, pcm }, [pcm]);
    this.filled = 0;
  }
}

registerProcessor("pieces", Pieces);
