import lance
def fields(data):
    at=0
    def varint():
        nonlocal at
        v=s=0
        while True:
            b=data[at]; at+=1; v|=(b&127)<<s; s+=7
            if b<128: return v
    out={}
    while at<len(data):
        k=varint(); n,w=k>>3,k&7
        if w==0: out[n]=varint()
        elif w==2: l=varint(); out.setdefault(n,[]) if not isinstance(out.get(n),int) else None; at+=l
        elif w==1: at+=8
        elif w==5: at+=4
        else: raise ValueError(w)
    return out
import sys
d=lance.dataset(sys.argv[1])
for v in d.versions():
    x=lance.dataset(sys.argv[1],version=v['version']); print(v['version'],[f.fragment_id for f in x.get_fragments()], {k:a for k,a in fields(bytes(x._ds.serialized_manifest())).items() if isinstance(a,int)})
