// Cuts microphone sound into pieces of 40 ms, as 16-bit integers with their time and loudness.
class Pieces extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Int16Array(Math.round(sampleRate / 25));
    this.filled = 0;
    this.startS = 0;
    this.loudest = 0;
    this.isOver = false;
    this.port.onmessage = () => {
      this.isOver = true;
    };
  }

  process([channels]) {
    if (this.isOver) return false;
    const sound = channels[0];
    if (!sound) return true;
    for (let i = 0; i < sound.length; i++) {
      if (this.filled === 0) this.startS = (currentFrame + i) / sampleRate;
      const sample = Math.max(-1, Math.min(1, sound[i]));
      this.loudest = Math.max(this.loudest, Math.abs(sample));
      this.piece[this.filled++] = sample * 32767;
      if (this.filled === this.piece.length) this.send();
    }
    return true;
  }

  send() {
    const pcm = this.piece.slice().buffer;
    const { startS: timeS, loudest } = this;
    this.port.postMessage({ timeS, rateHz: sampleRate, loudest, pcm }, [pcm]);
    this.filled = 0;
    this.loudest = 0;
  }
}

registerProcessor("pieces", Pieces);
